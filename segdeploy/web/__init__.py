"""The page that runs a network in the browser: its files, and the runtime that they load."""
