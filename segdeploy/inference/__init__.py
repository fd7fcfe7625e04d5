"""A backend and the imaging around it, on images."""
