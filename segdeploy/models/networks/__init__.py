"""The networks, one file each; the registry imports a file when its network is built."""
