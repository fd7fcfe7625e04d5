"""How a value is measured."""
