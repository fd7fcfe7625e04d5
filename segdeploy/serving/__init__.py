"""A server: masks over HTTP and gRPC, live cameras, and a page."""
