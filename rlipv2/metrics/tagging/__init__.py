"""How well relations of given pairs are named; a measure of this project, there is no official one."""
