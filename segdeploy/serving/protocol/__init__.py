"""The Open Inference Protocol, version 2: what Triton and KServe speak, over REST and gRPC."""
