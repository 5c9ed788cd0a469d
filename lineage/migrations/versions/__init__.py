"""One file a version, `vNNNN_what.py`; its `revision` is the `vNNNN` of its name."""
