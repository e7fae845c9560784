"""What is shown of policies and studies."""
