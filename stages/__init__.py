"""The stages of all pipelines: each reads its inputs, calls the library, and writes files."""

import os

# TensorFlow's notes on the CPU are not the user's concern, its errors are. It reads this when it is
# first imported, hence here, before any stage's own imports.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# oneDNN's convolutions on every processor: by itself TensorFlow takes them only on those with
# instructions for neural networks (AVX-512 VNNI and later), and others train slower without them.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
