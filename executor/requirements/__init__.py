"""Following what tasks require, and telling them of it. What becomes of it is decided in core/requirements.py."""
