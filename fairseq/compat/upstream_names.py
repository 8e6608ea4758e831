"""Names that upstream registers: a name that is missing here is then said to be missing, not to be misspelt.

Data only. What is registered here is never looked up in it, so a name need not be removed when it arrives.
"""

# ruff: noqa: SIM905 - hundreds of names, one a line, would hide that this is one table

from __future__ import annotations

__all__ = ["UPSTREAM"]

# By option, without dashes in front and with underscores; models count as architectures.
UPSTREAM: dict[str, frozenset[str]] = {
    "arch": frozenset(
        """
        CodeHiFiGANVocoder bart bart_base bart_large bert_base bert_large camembert cmlm_transformer
        cmlm_transformer_wmt_en_de convtransformer convtransformer_augmented_memory convtransformer_emformer
        convtransformer_espnet convtransformer_simul_trans convtransformer_simul_trans_espnet dummy_model
        fastspeech2 fconv fconv_iwslt_de_en fconv_lm fconv_lm_dauphin_gbw fconv_lm_dauphin_wikitext103
        fconv_self_att fconv_self_att_wp fconv_wmt_en_de fconv_wmt_en_fr fconv_wmt_en_ro gottbert hf_gpt2
        hf_gpt2_large hf_gpt2_medium hf_gpt2_xl hubert hubert_ctc hubert_seq2seq insertion_transformer
        iterative_nonautoregressive_transformer iterative_nonautoregressive_transformer_wmt_en_de
        levenshtein_transformer levenshtein_transformer_vaswani_wmt_en_de_big levenshtein_transformer_wmt_en_de
        levenshtein_transformer_wmt_en_de_big lightconv lightconv_iwslt_de_en lightconv_lm lightconv_lm_gbw
        lightconv_wmt_en_de lightconv_wmt_en_de_big lightconv_wmt_en_fr_big lightconv_wmt_zh_en_big lstm lstm_lm
        lstm_luong_wmt_en_de lstm_wiseman_iwslt_de_en masked_lm mbart_base mbart_base_wmt20 mbart_large
        model_parallel_roberta model_parallel_roberta_base model_parallel_roberta_large
        model_parallel_roberta_postnorm model_parallel_roberta_v1 model_parallel_transformer
        model_parallel_transformer_lm multilingual_transformer multilingual_transformer_iwslt_de_en multires_hubert
        multires_hubert_ctc nacrf_transformer nonautoregressive_transformer nonautoregressive_transformer_wmt_en_de
        pipeline_parallel_transformer roberta roberta_base roberta_enc_dec roberta_large roberta_prenorm
        s2spect2_conformer s2spect_conformer s2spect_conformer_fisher s2spect_conformer_translatotron2
        s2spect_transformer s2spect_transformer_fisher s2t_berard s2t_berard_256_3_3 s2t_berard_512_3_2
        s2t_berard_512_5_3 s2t_conformer s2t_transformer s2t_transformer_l s2t_transformer_lp s2t_transformer_m
        s2t_transformer_mp s2t_transformer_s s2t_transformer_sp s2t_transformer_xs s2ut_conformer
        s2ut_conformer_translatotron2 s2ut_transformer s2ut_transformer_fisher speech_dlm speech_dlm_big tacotron_2
        transformer transformer_align transformer_from_pretrained_xlm transformer_iwslt_de_en
        transformer_iwslt_de_en_pipeline_parallel transformer_lm transformer_lm_baevski_gbw
        transformer_lm_baevski_wiki103 transformer_lm_big transformer_lm_gbw transformer_lm_gpt
        transformer_lm_gpt2_big transformer_lm_gpt2_big_wide transformer_lm_gpt2_bigger transformer_lm_gpt2_medium
        transformer_lm_gpt2_small transformer_lm_gpt2_tiny transformer_lm_gpt3_13 transformer_lm_gpt3_175
        transformer_lm_gpt3_2_7 transformer_lm_gpt3_6_7 transformer_lm_gpt3_large transformer_lm_gpt3_medium
        transformer_lm_gpt3_small transformer_lm_gpt3_xl transformer_lm_megatron transformer_lm_megatron_11b
        transformer_lm_wiki103 transformer_monotonic transformer_monotonic_iwslt_de_en transformer_monotonic_tiny
        transformer_monotonic_vaswani_wmt_en_de_big transformer_monotonic_vaswani_wmt_en_fr_big transformer_tiny
        transformer_ulm transformer_ulm_big transformer_ulm_tiny transformer_unidirectional
        transformer_unidirectional_iwslt_de_en transformer_vaswani_wmt_en_de_big transformer_vaswani_wmt_en_fr_big
        transformer_wmt_en_de transformer_wmt_en_de_big transformer_wmt_en_de_big_align
        transformer_wmt_en_de_big_pipeline_parallel transformer_wmt_en_de_big_t2t tts_transformer unity_conformer
        unity_xm_transformer wav2vec wav2vec2 wav2vec2_laser wav2vec_classification wav2vec_ctc wav2vec_seq2seq xlm
        xlm_base xlmr xm_transformer xm_transformer_t2 xmod xmod_base xmod_base_13 xmod_base_30 xmod_base_60
        xmod_base_75 xmod_large_prenorm
        """.split()
    ),
    "bpe": frozenset(
        """
        bert byte_bpe bytes characters fastbpe gpt2 hf_byte_bpe sentencepiece subword_nmt
        """.split()
    ),
    "criterion": frozenset(
        """
        adaptive_loss composite_loss cross_entropy ctc fastspeech2 hubert label_smoothed_cross_entropy
        label_smoothed_cross_entropy_with_alignment label_smoothed_cross_entropy_with_ctc
        label_smoothed_cross_entropy_with_rdrop latency_augmented_label_smoothed_cross_entropy legacy_masked_lm_loss
        masked_lm model nat_loss sentence_prediction sentence_prediction_adapters sentence_ranking
        speech_dlm_criterion speech_to_spectrogram speech_to_spectrogram_2pass speech_to_unit speech_to_unit_2pass
        speech_unit_lm_criterion tacotron2 vocab_parallel_cross_entropy wav2vec
        """.split()
    ),
    "lr_scheduler": frozenset(
        """
        cosine fixed inverse_sqrt manual pass_through polynomial_decay reduce_lr_on_plateau step tri_stage
        triangular
        """.split()
    ),
    "optimizer": frozenset(
        """
        adadelta adafactor adagrad adam adamax composite cpu_adam lamb nag sgd
        """.split()
    ),
    "scoring": frozenset(
        """
        bert_score bleu chrf meteor sacrebleu wer
        """.split()
    ),
    "simul_type": frozenset(
        """
        chunkwise hard_aligned hard_aligned_fixed_pre_decision infinite_lookback
        infinite_lookback_fixed_pre_decision waitk waitk_fixed_pre_decision
        """.split()
    ),
    "task": frozenset(
        """
        audio_classification audio_finetuning audio_pretraining cross_lingual_lm denoising dummy_lm dummy_masked_lm
        dummy_mt frm_text_to_speech hubert_pretraining language_modeling legacy_masked_lm masked_lm
        multilingual_denoising multilingual_language_modeling multilingual_masked_lm multilingual_translation
        multires_hubert_pretraining nlu_finetuning online_backtranslation semisupervised_translation
        sentence_prediction sentence_prediction_adapters sentence_ranking simul_speech_to_text simul_text_to_text
        span_masked_lm speech_dlm_task speech_to_speech speech_to_text speech_unit_modeling text_to_speech
        translation translation_from_pretrained_bart translation_from_pretrained_xlm translation_lev
        translation_multi_simple_epoch
        """.split()
    ),
    "tokenizer": frozenset(
        """
        moses nltk space
        """.split()
    ),
}
