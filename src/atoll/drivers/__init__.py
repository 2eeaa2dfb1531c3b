"""One module per way of acting on the outside, each meeting one Protocol of `atoll.ports`."""
