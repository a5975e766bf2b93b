"""Loading a base model, holding its adapter, and reading answer distributions off a context tree."""
