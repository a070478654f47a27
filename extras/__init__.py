"""What the article does not have: the command line, the files of a run, their
comparison, the reader of pictures, the window to draw in, distorted training
images, the benchmark, and the report."""
