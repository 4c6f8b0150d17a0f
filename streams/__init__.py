"""Topics, the engine (pure wiring of stages), and the runtimes that drive it."""
