"""What the gallery lacks: searches that found nothing, categories that are covered badly, and people's judgements."""
