"""What a step is, and what its action gets: the contract between the code that makes steps and the code that runs
them."""
