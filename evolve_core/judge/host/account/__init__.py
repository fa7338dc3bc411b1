"""What a launch moves and computes at its real size, out of a few of its programs: for the estimate without a GPU."""
