"""How often each detector is right: failures put into real healthy runs, and hard negatives beside them."""
