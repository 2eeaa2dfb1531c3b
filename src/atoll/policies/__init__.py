"""Pure and mutually unaware deciders: own state, observed and now in, a Verdict out."""
