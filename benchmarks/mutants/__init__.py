"""How good is the acceptance rule? Honest variants that it rejects, mutants that it accepts, by families of operators."""
