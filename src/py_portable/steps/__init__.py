"""What a step is, and what its action is given: the contract between who makes steps and who runs them."""
