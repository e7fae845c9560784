"""Language modelling: recipes, what a policy is compared with, and the tasks made of them by name."""
