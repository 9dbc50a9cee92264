"""What a photo and a listing are called: category by vote, names, tags, and what is worth showing."""
