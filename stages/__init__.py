"""The stages of dvc.yaml: each reads parameters and files, calls the library, and writes files."""

import os

# TensorFlow's notes on the CPU are not the user's concern, its errors are. It reads this when it is
# first imported, hence here, before any stage's own imports.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
