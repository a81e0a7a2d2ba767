"""Make one model of the best trials: train their members, choose among them, join them."""
