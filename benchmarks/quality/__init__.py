"""Compare the quality of tagsweep's classifiers with the article's recipe and simpler heads."""
