"""Generated from open_inference.proto; not edited by hand."""
