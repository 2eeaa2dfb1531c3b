"""The loops: observe, decide, design, execute. Each loop's single turn is a function that tests call."""
