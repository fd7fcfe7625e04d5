"""`segdeploy tune`: the file and the settings that keep a budget on this machine."""
