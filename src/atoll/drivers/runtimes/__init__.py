"""Where instances run. Each module meets `ports.Runtime`; runtimes do not know each other."""
