# AWS's SDK for Ruby: V2 (and V1, which it still writes) under RSA, AES and KMS.
# Debian: ruby-aws-sdk-s3 and ruby-aws-sdk-kms. Only what Ruby brings is used beside it.

require "aws-sdk-kms"
require "aws-sdk-s3"
require "digest"
require "json"
require "openssl"

given = JSON.parse(ENV.fetch("INTEROP"))
REPORT = given["report"]
DIRECTORY = given["directory"]
SERVER = given["server"]
KEYS = given["keys"]
VERSION = Aws::S3::GEM_VERSION
SIZES = [0, 1, 16, 100_000].freeze

def plaintext(name, size)
  blocks = (0..size / 32).map { |number| Digest::SHA256.digest(name.b + [number].pack("Q>")) }
  blocks.join[0, size]
end

def say(step, outcome, note = "")
  row = { step: step, outcome: outcome, note: note, version: VERSION }
  File.open(REPORT, "a") { |file| file.puts(JSON.generate(row)) }
end

def step(name)
  yield
  say(name, "passed")
rescue StandardError => e
  warn e.full_message
  say(name, "failed", "#{e.class}: #{e.message}"[0, 200])
end

def plain_client
  Aws::S3::Client.new(
    endpoint: SERVER["s3"], region: "us-east-1", force_path_style: true,
    access_key_id: SERVER["access_key"], secret_access_key: SERVER["secret_key"],
    ssl_ca_bundle: SERVER["ca"]
  )
end

def key_service
  Aws::KMS::Client.new(
    endpoint: SERVER["kms"], region: "us-east-1", ssl_ca_bundle: SERVER["ca"],
    access_key_id: SERVER["access_key"], secret_access_key: SERVER["secret_key"]
  )
end

def master(name)
  return OpenSSL::PKey::RSA.new(KEYS["rsa"]["private"]) if name == "rsa"

  KEYS["aes"]["hex"].scan(/../).map(&:hex).pack("C*")
end

def client(format, name, reading: false)
  if name == "kms"
    Aws::S3::EncryptionV2::Client.new(
      # To name the key when decrypting takes a newer aws-sdk-kms than Debian has.
      client: plain_client, kms_client: key_service,
      kms_key_id: reading ? :kms_allow_decrypt_with_any_cmk : KEYS["kms"]["key_id"],
      key_wrap_schema: :kms_context, content_encryption_schema: :aes_gcm_no_padding,
      security_profile: :v2
    )
  elsif format == "s3-v1"
    Aws::S3::Encryption::Client.new(client: plain_client, encryption_key: master(name))
  else
    Aws::S3::EncryptionV2::Client.new(
      client: plain_client, encryption_key: master(name),
      key_wrap_schema: name == "rsa" ? :rsa_oaep_sha1 : :aes_gcm,
      content_encryption_schema: :aes_gcm_no_padding,
      security_profile: :v2
    )
  end
end

def write
  %w[s3-v2 s3-v1].each do |format|
    %w[rsa aes kms].each do |name|
      next if format == "s3-v1" && name == "kms"

      SIZES.each do |size|
        id = "ruby-#{format}-#{name}-#{size}"
        step("writes #{id}") do
          client(format, name).put_object(
            bucket: SERVER["bucket"], key: id, body: plaintext(id, size)
          )
          about = { name: id, metadata: nil, size: size, keys: [name] }
          File.write(File.join(DIRECTORY, "#{id}.json"), JSON.generate(about))
          File.binwrite(File.join(DIRECTORY, "#{id}.body"), "")
        end
      end
    end
  end
end

def read
  Dir[File.join(DIRECTORY, "*.json")].sort.each do |path|
    about = JSON.parse(File.read(path))
    next unless about["format"].start_with?("s3-")

    id = about["name"]
    if about["format"] == "s3-v3"
      say("reads #{id}", "cannot", "this version is older than V3")
      next
    end
    step("reads #{id}") do
      extra = about["context"] ? { kms_encryption_context: about["context"] } : {}
      body = client(about["format"], about["keys"][0], reading: true)
             .get_object(bucket: SERVER["bucket"], key: id, **extra).body.read
      raise "not the plaintext" unless body.b == plaintext(id, about["size"]).b
    end
  end
end

given["phase"] == "write" ? write : read
