"""From a source of frames to a sink, one way, in threads with bounded queues."""
