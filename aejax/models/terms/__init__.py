"""Terms beside the KL: on codes, on views of an example, in place of the likelihood; critics; known labels."""
