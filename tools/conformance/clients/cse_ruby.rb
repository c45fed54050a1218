# What cse_ruby.py lets AWS's SDK for Ruby do: one thing, asked for as JSON on standard input.
#
#   do     put or get
#   kind   v1 or v2
#   master {"pem": …}, {"aes": BASE64} or {"kms": ARN}

require "aws-sdk-kms"
require "aws-sdk-s3"
require "base64"
require "json"
require "openssl"

ASKED = JSON.parse($stdin.read)
WHO = {
  region: "us-east-1", ssl_ca_bundle: ASKED["ca"],
  access_key_id: ASKED["access_key"], secret_access_key: ASKED["secret_key"]
}.freeze

def key_options
  master = ASKED["master"]
  if master.key?("kms")
    # To name the key when decrypting takes a newer aws-sdk-kms than Debian has.
    id = ASKED["do"] == "get" ? :kms_allow_decrypt_with_any_cmk : master["kms"]
    service = Aws::KMS::Client.new(endpoint: ASKED["kms"], **WHO)
    return { kms_key_id: id, kms_client: service, key_wrap_schema: :kms_context }
  end
  if master.key?("pem")
    return { encryption_key: OpenSSL::PKey::RSA.new(master["pem"]), key_wrap_schema: :rsa_oaep_sha1 }
  end

  { encryption_key: Base64.strict_decode64(master["aes"]), key_wrap_schema: :aes_gcm }
end

def client
  plain = Aws::S3::Client.new(endpoint: ASKED["endpoint"], force_path_style: true, **WHO)
  if ASKED["kind"] == "v1"
    return Aws::S3::Encryption::Client.new(client: plain, encryption_key: key_options[:encryption_key])
  end

  Aws::S3::EncryptionV2::Client.new(
    client: plain, content_encryption_schema: :aes_gcm_no_padding, security_profile: :v2,
    **key_options
  )
end

if ASKED["do"] == "put"
  client.put_object(bucket: "attic", key: ASKED["key"], body: File.binread(ASKED["path"]))
else
  extra = ASKED["context"].empty? ? {} : { kms_encryption_context: ASKED["context"] }
  answer = client.get_object(bucket: "attic", key: ASKED["key"], **extra)
  File.binwrite(ASKED["path"], answer.body.read)
end
