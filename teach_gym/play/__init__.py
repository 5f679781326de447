"""The playground: a person teaches, in a page served on the local machine."""
