"""Small frames for the pages: queries over an open store, and arithmetic over what they gave. Nothing here draws."""
