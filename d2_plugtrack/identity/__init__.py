"""How well tracks keep their objects' identity: the measures, and the methods compared."""
