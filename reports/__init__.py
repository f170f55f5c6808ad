"""Tables in, pictures and pages out: units, labels and directions travel in the tables."""
