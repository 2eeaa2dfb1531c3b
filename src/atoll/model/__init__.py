"""The file, turned into a System: source (tree with positions), parse, check, load. No decision is taken here."""
