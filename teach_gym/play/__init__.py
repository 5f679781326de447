"""The playground: a person is the teacher, in a page served on this machine."""
