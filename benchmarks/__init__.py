"""How fast is it, side by side with something else? One script a question."""
