"""What the article does not have: the command line, the files of a run, the
reader of pictures, and distorted training images."""
