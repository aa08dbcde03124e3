"""What the command lines have in common: parsers, types of arguments, options, the sample clip."""
