"""What is measured, how sure we are of it, what a release must hold, and how it is shown."""
