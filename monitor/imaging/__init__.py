"""What is read off an image: numbers in, numbers out."""
