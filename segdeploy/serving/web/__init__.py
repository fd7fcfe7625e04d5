"""HTTP: bodies, answers, errors, routes, and the server that listens."""
