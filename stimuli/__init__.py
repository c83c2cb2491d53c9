"""What the model is shown: images, distortions, taxonomies and questions. Imports no other room."""
