"""From a source directory to an immutable artifact. Each language is one module; they do not know each other."""
