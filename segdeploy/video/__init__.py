"""Video: from a source of frames through the network to encoded outputs, in threads."""
