"""One module per verb, thin: parse words, ask the client, print, exit."""
