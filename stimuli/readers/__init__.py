"""The user's folders and lists, and the published image quality datasets, as sets of stimuli whose pixels are read on demand."""
