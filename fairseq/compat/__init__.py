"""The one place for what only compatibility asks for. Each module says who needs it."""
