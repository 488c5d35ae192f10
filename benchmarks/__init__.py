"""How fast is it, side by side with something else? One script a question."""

import stages  # noqa: F401 - for TensorFlow to run as it does in the stages
